package usage

import (
	"bufio"
	"fmt"
	"os"
	"strings"
	"time"
)

// Core returns how long a processor has been busy so far, for whomever: interrupts
// and what a hypervisor took away included. The kernel counts in hundredths of a
// second and partly by samples: good for a share of seconds, not for an operation.
func Core(id int) (time.Duration, error) {
	file, err := os.Open("/proc/stat")
	if err != nil {
		return 0, err
	}
	defer file.Close()
	name := fmt.Sprintf("cpu%d ", id)
	for scanner := bufio.NewScanner(file); scanner.Scan(); {
		line, ok := strings.CutPrefix(scanner.Text(), name)
		if !ok {
			continue
		}
		var user, nice, system, idle, wait, irq, softirq, steal int64
		if _, err := fmt.Sscan(line, &user, &nice, &system, &idle, &wait, &irq, &softirq, &steal); err != nil {
			return 0, fmt.Errorf("/proc/stat: %q: %w", line, err)
		}
		const tick = 10 * time.Millisecond // USER_HZ, which is 100 on every Linux
		return time.Duration(user+nice+system+irq+softirq+steal) * tick, nil
	}
	return 0, fmt.Errorf("/proc/stat has no processor %d", id)
}
