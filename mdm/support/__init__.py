"""The support desk: cases of lost, stolen, broken and late tablets (R-20, R-28, R-29). One case, one timeline."""
