"""From the networks' answer to a whole photo."""
