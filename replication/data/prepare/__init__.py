"""What `data_scripts/` do: get the official archives, unpack, convert and verify them."""
