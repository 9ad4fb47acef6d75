"""From instance to plan: reception, the facts rules may see, rules, decisions."""
