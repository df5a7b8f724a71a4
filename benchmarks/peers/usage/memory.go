package usage

import (
	"bufio"
	"fmt"
	"os"
	"strings"
)

// Memory is what processes hold in memory, in octets.
type Memory struct {
	Resident     int64 // sum over processes; pages that several map count for each
	Proportional int64 // such pages are divided among those who map them
}

// Resident returns the memory of the processes. Sockets are the kernel's and not
// part of it.
func Resident(pids ...int) (Memory, error) {
	var sum Memory
	for _, pid := range pids {
		name := fmt.Sprintf("/proc/%d/smaps_rollup", pid)
		file, err := os.Open(name)
		if err != nil {
			return Memory{}, err
		}
		found := 0
		for scanner := bufio.NewScanner(file); scanner.Scan(); {
			var kib int64
			switch line := scanner.Text(); {
			case strings.HasPrefix(line, "Rss:"):
				_, err = fmt.Sscanf(line, "Rss: %d kB", &kib)
				sum.Resident += kib << 10
				found++
			case strings.HasPrefix(line, "Pss:"):
				_, err = fmt.Sscanf(line, "Pss: %d kB", &kib)
				sum.Proportional += kib << 10
				found++
			}
			if err != nil {
				break
			}
		}
		file.Close()
		if err != nil || found != 2 {
			return Memory{}, fmt.Errorf("%s does not say Rss and Pss: %w", name, err)
		}
	}
	return sum, nil
}
