package jobs

// MachineOf is what the engine makes of a config.
var MachineOf = machineOf
