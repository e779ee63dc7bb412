"""What data sets, tasks and criterions of the plug-in share."""
