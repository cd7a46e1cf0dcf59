"""The compiler for Android: the neutral policy as one policy of the Android Management API."""
