"""Activities: tasks, calls, meetings, mails and notes, on one timeline."""
