"""Tests of the documentation: its blocks, its names, its site."""
