"""Bulk wipes of returned tablets, as campaigns that two organizations sign and that leave in waves."""
