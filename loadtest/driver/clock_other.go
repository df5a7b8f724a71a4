//go:build !linux

package main

func newClock() clock { return sleepClock{} }
