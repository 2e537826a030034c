// Both ends of a measured proxy, on grpc-go:
//
//	load standin ADDRESS...     a stand-in OAP that counts what arrives, on each address
//	load run [flags] TARGET [KEY=VALUE ...]
//	                            agents: bounded calls to TARGET, the outcome as one line of JSON
package main

import (
	"fmt"
	"os"
	"runtime/debug"
)

const (
	// collect is a client stream, report is unary: the methods that agents call most.
	collect = "/skywalking.v3.TraceSegmentReportService/collect"
	report  = "/skywalking.v3.JVMMetricReportService/collect"
	// health is what site.yml asks each OAP for.
	health = "/grpc.health.v1.Health/Check"
	// counts is the stand-in's own: what has arrived so far.
	counts = "/oap_proxy.StandIn/counts"
)

// raw sends messages as the bytes they are, and keeps of a received one what is asked for.
type raw struct{}

func (raw) Marshal(message any) ([]byte, error) { return *message.(*[]byte), nil }

func (raw) Unmarshal(data []byte, message any) error {
	if kept := message.(*[]byte); kept != nil {
		*kept = append((*kept)[:0], data...)
	}
	return nil
}

func (raw) Name() string { return "proto" }

func main() {
	commands := map[string]func([]string) error{"standin": standin, "run": run}
	if len(os.Args) < 2 || commands[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "usage: load standin ADDRESS... | load run [flags] TARGET [KEY=VALUE ...]")
		os.Exit(2)
	}
	// Memory is cheap here, and the time of a core is what is measured.
	debug.SetGCPercent(1000)
	if err := commands[os.Args[1]](os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
