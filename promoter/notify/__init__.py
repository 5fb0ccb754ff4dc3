"""Notices about promotions to people and programs elsewhere, sent in the background.

notice.py     a notice: one value for every channel        notifier.py   which channel gets which notice
outbox.py     a thread for each channel; nobody waits for it   endpoint.py   requests whose address may be a secret
slack.py teams.py webhook.py github.py       a channel each: a pure payload, and how it is sent
"""
