"""A cockpit in JupyterLab: a form of parameters, the plan they make, Start and Stop, and the run as it goes.

It asks with the models of the parameters and runs ``inferkit run``; nothing is measured, and nothing told, by it alone.
"""
