// Draws the interactive figures from their descriptions; see reports/charts.py.
