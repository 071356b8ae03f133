"""What train.py and val.py share: here the parts of a run are introduced to each other."""
