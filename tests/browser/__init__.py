"""Pages in a real browser. A package, so that its files share one Chromium, which ends before other tests begin."""
