"""Tests of the `allclear` program as a person or a script meets it."""
