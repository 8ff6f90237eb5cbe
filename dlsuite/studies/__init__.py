"""Many runs or measurements by one plan."""
