"""Whereabouts checks (所在確認, R-19): every tablet on a list, and what proves that it is still there. No location."""
