"""An ablation's trainings as cells that any number of processes, machines or jobs of a cluster work on."""
