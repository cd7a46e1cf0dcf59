"""What is asked of tablets: commands, artifacts, manifests, and the exchange that answers check-ins."""
