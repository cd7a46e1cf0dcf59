"""What a tablet should be: the neutral policy, its compilers, and rollouts."""
