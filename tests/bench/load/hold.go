package main

import (
	"context"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/status"
)

const (
	shortly = 2 * time.Second
	beat    = 200 * time.Millisecond // between two messages of a stream that is held
)

// held is a stream that was held open: for so long by its client's will (0: until the run ends), and
// how it ended.
type held struct {
	Wanted float64 `json:"wanted"`
	Began  float64 `json:"began"`
	Lived  float64 `json:"lived"`
	Status string  `json:"status"`
	Words  string  `json:"words"`
}

// hold keeps streams open on the clients' connections until the run ends.
func (l *load) hold(long, short int) {
	for number := 0; number < long+short; number++ {
		wanted := shortly
		if number < long {
			wanted = 0
		}
		l.holding.Add(1)
		go func(client *grpc.ClientConn) {
			defer l.holding.Done()
			for !l.isOver() {
				one := l.holdOnce(client, wanted)
				l.lock.Lock()
				l.held = append(l.held, one)
				l.lock.Unlock()
			}
		}(l.clients[number%len(l.clients)])
	}
}

// holdOnce holds one stream, a message every beat.
func (l *load) holdOnce(client *grpc.ClientConn, wanted time.Duration) held {
	ctx, cancel := context.WithTimeout(context.Background(), longest)
	defer cancel()
	began := time.Now()
	err := func() error {
		opened, err := client.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true}, collect)
		if err != nil {
			return err
		}
		answered := make(chan error, 1)
		go func() { answered <- opened.RecvMsg((*[]byte)(nil)) }()
		enough := make(<-chan time.Time)
		if wanted > 0 {
			enough = time.After(wanted)
		}
		ticks := time.NewTicker(beat)
		defer ticks.Stop()
		for {
			select {
			case err := <-answered: // not asked for yet: it was cut
				return err
			case <-ticks.C:
				// A stream that has ended tells why when it is received from.
				_ = opened.SendMsg(&payload)
				continue
			case <-enough:
			case <-l.over:
			}
			if err := opened.CloseSend(); err != nil {
				return err
			}
			return <-answered
		}
	}()
	told := held{
		Wanted: wanted.Seconds(),
		Began:  float64(began.UnixMicro()) / 1e6,
		Lived:  time.Since(began).Seconds(),
		Status: strings.ToUpper(status.Code(err).String()),
	}
	if err != nil {
		told.Words = err.Error()
	}
	return told
}
