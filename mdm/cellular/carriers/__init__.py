"""Carriers: one module each for what their interfaces speak, behind one protocol. They know no database."""
