"""Stages of use: from when on somebody is told or warned, or a line is slowed. Once per rule, subject and cycle."""
