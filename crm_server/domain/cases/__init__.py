"""Cases: what customers ask service to solve."""
