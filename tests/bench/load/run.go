package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"sort"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

const (
	longest  = 5 * time.Minute  // a run ends by then, whatever it was told
	deadline = 10 * time.Second // of each call
	size     = 1024             // of each message
	batch    = 10               // segments of one stream
)

var payload []byte

// tally is what one goroutine saw.
type tally struct {
	segments, reports uint64          // acknowledged, over the whole run
	within            []time.Duration // the calls that ended within the measured time
	failed            map[string]int  // by status, over the whole run
	words             []string        // of the first failures
}

// outcome is what a run prints. Calls, seconds and latencies are of the measured time, made and
// failed of the whole run; lost is what was acknowledged and has not arrived.
type outcome struct {
	Calls   int            `json:"calls"`
	Seconds float64        `json:"seconds"`
	Median  float64        `json:"median_ms"`
	P99     float64        `json:"p99_ms"`
	Made    int            `json:"made"`
	Failed  map[string]int `json:"failed"`
	Lost    int64          `json:"lost"`
	Words   []string       `json:"words"`
	Held    []held         `json:"held"`
}

type load struct {
	begin, end time.Time
	over       chan struct{} // closed when the run ends
	clients    []*grpc.ClientConn
	metadata   []string
	lock       sync.Mutex
	tallies    []*tally
	holding    sync.WaitGroup
	held       []held
}

func run(arguments []string) error {
	flags := flag.NewFlagSet("run", flag.ContinueOnError)
	number := flags.Int("clients", 20, "connections")
	begin := flags.Float64("begin", 0, "when the measured time begins, in seconds since 1970")
	end := flags.Float64("end", 0, "when it ends, and the run with it; 0 when standard input ends")
	empty := flags.Bool("empty", false, "send empty messages, which a real OAP takes")
	long := flags.Int("long", 0, "streams held until they are cut, and opened again")
	short := flags.Int("short", 0, "streams held for two seconds, one after the other")
	full := flags.String("full", "", "streams or unary: each client makes call after call")
	streams := flags.Int("streams", 0, "streams a second, all clients together")
	unary := flags.Int("unary", 0, "unary calls a second, all clients together")
	counter := flags.String("standin", "", "the stand-in itself, which is asked what has arrived")
	ca := flags.String("ca", "", "speak TLS, and trust this file of certificates")
	certificate := flags.String("certificate", "", "the client's own certificate")
	key := flags.String("key", "", "its key")
	serverName := flags.String("server-name", "", "the server's name where it is not the target's")
	if err := flags.Parse(arguments); err != nil {
		return err
	}
	if flags.NArg() < 1 {
		return errors.New("there is no target")
	}
	one := &load{begin: moment(*begin), end: moment(*end), over: make(chan struct{})}
	if *end == 0 {
		one.begin, one.end = time.Now(), time.Now().Add(longest)
	}
	if time.Until(one.end) > longest || !one.begin.Before(one.end) {
		return fmt.Errorf("a run ends within %s, and after it began", longest)
	}
	if !*empty {
		payload = make([]byte, size)
	}
	for _, pair := range flags.Args()[1:] {
		name, value, _ := strings.Cut(pair, "=")
		one.metadata = append(one.metadata, name, value)
	}
	over, err := transport(*ca, *certificate, *key, *serverName)
	if err != nil {
		return err
	}
	if err := one.connect(flags.Arg(0), *number, over); err != nil {
		return err
	}
	if *end > 0 && time.Now().After(one.begin) {
		return errors.New("connected when the time measured had begun")
	}
	before, err := arrived(*counter)
	if err != nil {
		return err
	}
	go one.finish(*end == 0)
	one.hold(*long, *short)
	switch {
	case *full == "streams":
		one.full((*load).stream)
	case *full == "unary":
		one.full((*load).unary)
	default:
		one.pace(paced{*streams, (*load).stream}, paced{*unary, (*load).unary})
	}
	one.holding.Wait()
	after, err := arrived(*counter)
	if err != nil {
		return err
	}
	told := one.outcome(after[0]-before[0], after[1]-before[1])
	if *counter == "" {
		told.Lost = 0
	}
	return json.NewEncoder(os.Stdout).Encode(told)
}

// finish ends the run when its time has come, or with standard input.
func (l *load) finish(withInput bool) {
	ended := make(chan struct{})
	if withInput {
		go func() {
			_, _ = io.Copy(io.Discard, os.Stdin)
			close(ended)
		}()
	}
	select {
	case <-ended:
		l.end = time.Now()
	case <-time.After(time.Until(l.end)):
	}
	close(l.over)
}

func (l *load) isOver() bool {
	select {
	case <-l.over:
		return true
	default:
		return false
	}
}

func moment(seconds float64) time.Time { return time.UnixMicro(int64(seconds * 1e6)) }

func transport(ca, certificate, key, serverName string) (credentials.TransportCredentials, error) {
	if ca == "" {
		return insecure.NewCredentials(), nil
	}
	text, err := os.ReadFile(ca)
	if err != nil {
		return nil, err
	}
	settings := &tls.Config{RootCAs: x509.NewCertPool(), ServerName: serverName}
	if !settings.RootCAs.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("%s holds no certificate", ca)
	}
	if certificate != "" {
		own, err := tls.LoadX509KeyPair(certificate, key)
		if err != nil {
			return nil, err
		}
		settings.Certificates = []tls.Certificate{own}
	}
	return credentials.NewTLS(settings), nil
}

func dial(target string, over credentials.TransportCredentials) (*grpc.ClientConn, error) {
	return grpc.NewClient("passthrough:///"+target, grpc.WithTransportCredentials(over),
		grpc.WithNoProxy(), grpc.WithDefaultCallOptions(grpc.ForceCodec(raw{})))
}

// connect opens a connection for each client and waits until all of them stand.
func (l *load) connect(target string, number int, over credentials.TransportCredentials) error {
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	for len(l.clients) < number {
		client, err := dial(target, over)
		if err != nil {
			return err
		}
		client.Connect()
		l.clients = append(l.clients, client)
	}
	for _, client := range l.clients {
		for state := client.GetState(); state != connectivity.Ready; state = client.GetState() {
			if !client.WaitForStateChange(ctx, state) {
				return fmt.Errorf("no connection to %s: %s", target, state)
			}
		}
	}
	return nil
}

// call makes one call and notes it; due is when it was to begin.
type call func(l *load, client *grpc.ClientConn, seen *tally, due time.Time)

func (l *load) stream(client *grpc.ClientConn, seen *tally, due time.Time) {
	ctx, cancel := l.context()
	defer cancel()
	err := func() error {
		opened, err := client.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true}, collect)
		if err != nil {
			return err
		}
		for sent := 0; sent < batch; sent++ {
			// A stream that has ended tells why when it is received from.
			if opened.SendMsg(&payload) != nil {
				break
			}
		}
		if err := opened.CloseSend(); err != nil {
			return err
		}
		return opened.RecvMsg((*[]byte)(nil))
	}()
	if l.note(seen, due, err) {
		seen.segments += batch
	}
}

func (l *load) unary(client *grpc.ClientConn, seen *tally, due time.Time) {
	ctx, cancel := l.context()
	defer cancel()
	if l.note(seen, due, client.Invoke(ctx, report, &payload, (*[]byte)(nil))) {
		seen.reports++
	}
}

func (l *load) context() (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	if len(l.metadata) > 0 {
		ctx = metadata.AppendToOutgoingContext(ctx, l.metadata...)
	}
	return ctx, cancel
}

func (l *load) note(seen *tally, due time.Time, err error) bool {
	if err != nil {
		seen.failed[status.Code(err).String()]++
		now := time.Now()
		seen.words = append(seen.words, fmt.Sprintf("%s, after %s: %s",
			now.Format(time.StampMilli), now.Sub(due).Round(time.Millisecond), err))
		return false
	}
	if now := time.Now(); !now.Before(l.begin) && !l.isOver() {
		seen.within = append(seen.within, now.Sub(due))
	}
	return true
}

func (l *load) tally() *tally {
	seen := &tally{failed: map[string]int{}}
	l.lock.Lock()
	defer l.lock.Unlock()
	l.tallies = append(l.tallies, seen)
	return seen
}

// full has each client make call after call.
func (l *load) full(kind call) {
	var all sync.WaitGroup
	for _, client := range l.clients {
		all.Add(1)
		go func(client *grpc.ClientConn) {
			defer all.Done()
			seen := l.tally()
			for !l.isOver() {
				kind(l, client, seen, time.Now())
			}
		}(client)
	}
	all.Wait()
}

// paced is one kind of call, so many a second.
type paced struct {
	perSecond int
	kind      call
}

// pace begins calls when they are due, whether those before have ended or not: latency counts from
// then.
func (l *load) pace(all ...paced) {
	var running sync.WaitGroup
	for _, one := range all {
		if one.perSecond > 0 {
			running.Add(1)
			go func(one paced) {
				defer running.Done()
				l.steady(one)
			}(one)
		}
	}
	running.Wait()
}

func (l *load) steady(one paced) {
	var flying sync.WaitGroup
	free := sync.Pool{New: func() any { return l.tally() }}
	apart := time.Second / time.Duration(one.perSecond)
	turn := 0
	for due := time.Now().Add(apart); !l.isOver(); due = due.Add(apart) {
		time.Sleep(time.Until(due))
		flying.Add(1)
		go func(client *grpc.ClientConn, due time.Time) {
			defer flying.Done()
			seen := free.Get().(*tally)
			one.kind(l, client, seen, due)
			free.Put(seen)
		}(l.clients[turn%len(l.clients)], due)
		turn++
	}
	flying.Wait()
}

// arrived asks the stand-in itself for its counts of segments and unary calls.
func arrived(standin string) ([2]uint64, error) {
	if standin == "" {
		return [2]uint64{}, nil
	}
	direct, err := dial(standin, insecure.NewCredentials())
	if err != nil {
		return [2]uint64{}, err
	}
	defer direct.Close()
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	request, reply := []byte{}, []byte{}
	if err := direct.Invoke(ctx, counts, &request, &reply); err != nil {
		return [2]uint64{}, err
	}
	if len(reply) != 16 {
		return [2]uint64{}, errors.New("this is not the stand-in")
	}
	return [2]uint64{binary.BigEndian.Uint64(reply), binary.BigEndian.Uint64(reply[8:])}, nil
}

func (l *load) outcome(segments, reports uint64) outcome {
	told := outcome{Seconds: l.end.Sub(l.begin).Seconds(), Failed: map[string]int{}, Held: l.held}
	var within []time.Duration
	lost := -int64(segments) - int64(reports)
	for _, seen := range l.tallies {
		within = append(within, seen.within...)
		lost += int64(seen.segments + seen.reports)
		told.Made += int(seen.segments/batch + seen.reports)
		told.Words = append(told.Words, seen.words...)
		for code, number := range seen.failed {
			told.Failed[code] += number
			told.Made += number
		}
	}
	sort.Slice(within, func(a, b int) bool { return within[a] < within[b] })
	if told.Calls = len(within); told.Calls > 0 {
		told.Median = milliseconds(within[told.Calls/2])
		told.P99 = milliseconds(within[told.Calls*99/100])
	}
	// More may have arrived than was acknowledged, and that is no loss.
	if lost > 0 {
		told.Lost = lost
	}
	return told
}

func milliseconds(duration time.Duration) float64 {
	return float64(duration) / float64(time.Millisecond)
}
