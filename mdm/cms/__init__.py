"""Cryptographic Message Syntax (RFC 5652): signed and enveloped messages. Pure: no settings, no database, no clock."""
