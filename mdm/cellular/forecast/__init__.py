"""What lines, pools, schools and the fleet will have used when their cycle ends; kept, so that it can be scored."""
