// Command program is how programs use virtual.Run.
package main

import (
	"fmt"
	"testing"
	"time"

	"github.com/meridian-mesh/meridian/sim/virtual"
)

func main() {
	begin := time.Now()
	err := virtual.Run(func() error {
		start := time.Now()
		time.Sleep(time.Hour)
		return fmt.Errorf("slept %s", time.Since(start))
	})
	fmt.Println(err, testing.Testing(), time.Since(begin) < time.Minute)
	defer func() { fmt.Println("panic:", recover()) }()
	_ = virtual.Run(func() error { panic("inside") })
}
