// One call on grpc-go, its outcome as one line of JSON:
// client [-stream] [-timeout 5s]
//
//	[-ca FILE [-certificate FILE -key FILE] [-server-name NAME]]
//	TARGET /package.Service/Method [KEY=VALUE ...]
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
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

// transport is plain text without a CA.
func transport(ca, certificate, key, serverName string) (credentials.TransportCredentials, error) {
	if ca == "" {
		return insecure.NewCredentials(), nil
	}
	text, err := os.ReadFile(ca)
	if err != nil {
		return nil, err
	}
	config := &tls.Config{RootCAs: x509.NewCertPool(), ServerName: serverName}
	if !config.RootCAs.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("%s holds no certificate", ca)
	}
	if certificate != "" {
		own, err := tls.LoadX509KeyPair(certificate, key)
		if err != nil {
			return nil, err
		}
		// Shown to whoever asks, also where the server names other authorities.
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return &own, nil
		}
	}
	return credentials.NewTLS(config), nil
}

func call(
	ctx context.Context, target, method string, stream bool, over credentials.TransportCredentials,
) error {
	connection, err := grpc.NewClient("passthrough:///"+target,
		grpc.WithTransportCredentials(over),
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
	ca := flag.String("ca", "", "speak TLS, and trust this file of certificates")
	certificate := flag.String("certificate", "", "the client's own certificate")
	key := flag.String("key", "", "its key")
	serverName := flag.String("server-name", "", "the server's name where it is not the target's")
	flag.Parse()
	if flag.NArg() < 2 {
		fmt.Fprintln(os.Stderr, "usage: client [-stream] [-timeout 5s] TARGET METHOD [KEY=VALUE ...]")
		os.Exit(2)
	}
	over, err := transport(*ca, *certificate, *key, *serverName)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	ctx, cancel := context.WithTimeout(context.Background(), *timeout)
	defer cancel()
	for _, pair := range flag.Args()[2:] {
		key, value, _ := strings.Cut(pair, "=")
		ctx = metadata.AppendToOutgoingContext(ctx, key, value)
	}
	outcome := status.Convert(call(ctx, flag.Arg(0), flag.Arg(1), *stream, over))
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
