"""The commands of `allclear` by family, each behind its options; `recovery.cli` is the table of them."""
