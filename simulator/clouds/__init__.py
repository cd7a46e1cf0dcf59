"""The vendors' clouds, pretended: each checks requests as its vendor would and keeps a journal. No server code here."""
