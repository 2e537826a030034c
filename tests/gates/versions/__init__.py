"""What the templates write for each nginx, held against what that nginx knows."""
