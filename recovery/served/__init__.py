"""What the Prefect flows call: forms in, pages out. Knows no Prefect."""
