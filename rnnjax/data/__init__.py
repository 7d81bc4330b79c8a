"""Files in standard formats -> arrays."""
