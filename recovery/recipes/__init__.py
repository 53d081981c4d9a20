"""The steps and probes of each remedy, one module a remedy."""
