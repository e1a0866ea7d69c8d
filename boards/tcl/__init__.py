"""The vendor's tools as far as our scripts use them: scripts run against recorders that know one design."""
