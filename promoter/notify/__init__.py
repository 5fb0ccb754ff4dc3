"""What people and programs elsewhere are told of a promotion, in the background.

notice.py     what is told: one value for every channel        notifier.py   which channels, and who hears what
outbox.py     a thread for each channel; nobody waits for it   endpoint.py   requests whose address may be a secret
slack.py teams.py webhook.py github.py       a channel each: a pure payload, and how it is sent
"""
