package loader

import "github.com/connprof/connprof/internal/kernel"

// registersOf is the instruction and the stack pointer.
func registersOf(c *kernel.StackCopy) (ip, sp uint64) { return c.Registers[16], c.Registers[7] }
