package main

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync/atomic"

	"google.golang.org/grpc"
)

var segments, reports atomic.Uint64

// standin answers every method with an empty message, as an OAP answers agents, and counts.
func standin(addresses []string) error {
	if len(addresses) == 0 {
		return errors.New("no address to listen on")
	}
	server := grpc.NewServer(
		grpc.ForceServerCodec(raw{}), grpc.UnknownServiceHandler(answer),
		grpc.MaxConcurrentStreams(4096))
	ended := make(chan error)
	for _, address := range addresses {
		listener, err := net.Listen("tcp", address)
		if err != nil {
			return err
		}
		go func(listener net.Listener) { ended <- server.Serve(listener) }(listener)
	}
	return <-ended
}

func answer(_ any, stream grpc.ServerStream) error {
	var received uint64
	for {
		if err := stream.RecvMsg((*[]byte)(nil)); err == io.EOF {
			break
		} else if err != nil {
			return err
		}
		received++
	}
	reply := []byte{}
	switch method, _ := grpc.MethodFromServerStream(stream); method {
	case collect:
		segments.Add(received)
	case report:
		reports.Add(received)
	case health:
		reply = []byte{8, 1} // SERVING
	case counts:
		reply = binary.BigEndian.AppendUint64(reply, segments.Load())
		reply = binary.BigEndian.AppendUint64(reply, reports.Load())
	}
	return stream.SendMsg(&reply)
}
