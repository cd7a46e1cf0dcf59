"""How an iPad gets in: SCEP and the enrolment profile."""
