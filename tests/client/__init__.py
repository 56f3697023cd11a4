"""Tests of the client against the service."""
