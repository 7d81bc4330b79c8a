"""The host's side of a study: what is varied, who is trained when, what came out."""
