"""Argo CD's HTTP API: requests, answers as frozen values, errors."""
