// One call on grpc-go, its outcome as one line of JSON:
// client [-stream] [-timeout 5s] TARGET /package.Service/Method [KEY=VALUE ...]
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// names are the codes as gRPC's specification writes them.
var names = [...]string{
	"OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND",
	"ALREADY_EXISTS", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED",
	"OUT_OF_RANGE", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED",
}

// raw sends and receives messages as the bytes they are.
type raw struct{}

func (raw) Marshal(message any) ([]byte, error) { return *message.(*[]byte), nil }

func (raw) Unmarshal(data []byte, message any) error {
	*message.(*[]byte) = append([]byte(nil), data...)
	return nil
}

func (raw) Name() string { return "proto" }

func call(ctx context.Context, target, method string, stream bool) error {
	connection, err := grpc.NewClient("passthrough:///"+target,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.ForceCodec(raw{})))
	if err != nil {
		return err
	}
	defer connection.Close()
	request, reply := []byte{}, []byte{}
	if !stream {
		return connection.Invoke(ctx, method, &request, &reply)
	}
	opened, err := connection.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true}, method)
	if err != nil {
		return err
	}
	if err := opened.CloseSend(); err != nil {
		return err
	}
	return opened.RecvMsg(&reply)
}

func main() {
	stream := flag.Bool("stream", false, "a client stream without a message, not a unary call")
	timeout := flag.Duration("timeout", 5*time.Second, "deadline of the call")
	flag.Parse()
	if flag.NArg() < 2 {
		fmt.Fprintln(os.Stderr, "usage: client [-stream] [-timeout 5s] TARGET METHOD [KEY=VALUE ...]")
		os.Exit(2)
	}
	ctx, cancel := context.WithTimeout(context.Background(), *timeout)
	defer cancel()
	for _, pair := range flag.Args()[2:] {
		key, value, _ := strings.Cut(pair, "=")
		ctx = metadata.AppendToOutgoingContext(ctx, key, value)
	}
	outcome := status.Convert(call(ctx, flag.Arg(0), flag.Arg(1), *stream))
	line, err := json.Marshal(map[string]any{
		"code": name(outcome.Code()), "number": uint32(outcome.Code()), "message": outcome.Message(),
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(string(line))
}

func name(code codes.Code) string {
	if int(code) < len(names) {
		return names[code]
	}
	return code.String()
}
