import io.grpc.CallOptions;
import io.grpc.ClientCall;
import io.grpc.ManagedChannel;
import io.grpc.Metadata;
import io.grpc.MethodDescriptor;
import io.grpc.Status;
import io.grpc.netty.shaded.io.grpc.netty.NettyChannelBuilder;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;

/**
 * One call on grpc-java, its outcome as one line of JSON:
 * Client [-stream] [-timeout 5] TARGET /package.Service/Method [KEY=VALUE ...]
 */
public final class Client {
    /** Messages as the bytes they are. */
    private static final MethodDescriptor.Marshaller<byte[]> RAW =
        new MethodDescriptor.Marshaller<>() {
            @Override
            public InputStream stream(byte[] message) {
                return new ByteArrayInputStream(message);
            }

            @Override
            public byte[] parse(InputStream stream) {
                try {
                    return stream.readAllBytes();
                } catch (IOException error) {
                    throw new UncheckedIOException(error);
                }
            }
        };

    private Client() {
    }

    public static void main(String[] arguments) throws Exception {
        List<String> words = new ArrayList<>(Arrays.asList(arguments));
        boolean stream = words.remove("-stream");
        long seconds = 5;
        int at = words.indexOf("-timeout");
        if (at >= 0) {
            seconds = Long.parseLong(words.get(at + 1));
            words.subList(at, at + 2).clear();
        }
        Metadata metadata = new Metadata();
        for (String pair : words.subList(2, words.size())) {
            String[] parts = pair.split("=", 2);
            metadata.put(Metadata.Key.of(parts[0], Metadata.ASCII_STRING_MARSHALLER), parts[1]);
        }
        ManagedChannel channel = NettyChannelBuilder.forTarget("dns:///" + words.get(0))
            .usePlaintext()
            .proxyDetector(address -> null)
            .build();
        Status status = call(channel, words.get(1).substring(1), stream, metadata, seconds);
        channel.shutdownNow();
        System.out.printf("{\"code\": \"%s\", \"number\": %d, \"message\": %s}%n",
            status.getCode(), status.getCode().value(), quoted(status.getDescription()));
        System.exit(0);
    }

    private static Status call(ManagedChannel channel, String method, boolean stream,
            Metadata metadata, long seconds) throws Exception {
        MethodDescriptor<byte[], byte[]> descriptor = MethodDescriptor.newBuilder(RAW, RAW)
            .setType(stream ? MethodDescriptor.MethodType.CLIENT_STREAMING
                : MethodDescriptor.MethodType.UNARY)
            .setFullMethodName(method)
            .build();
        ClientCall<byte[], byte[]> call = channel.newCall(
            descriptor, CallOptions.DEFAULT.withDeadlineAfter(seconds, TimeUnit.SECONDS));
        CompletableFuture<Status> outcome = new CompletableFuture<>();
        call.start(new ClientCall.Listener<>() {
            @Override
            public void onClose(Status status, Metadata trailers) {
                outcome.complete(status);
            }
        }, metadata);
        call.request(2);
        if (!stream) {
            call.sendMessage(new byte[0]);
        }
        call.halfClose();
        return outcome.get(seconds + 5, TimeUnit.SECONDS);
    }

    private static String quoted(String text) {
        StringBuilder out = new StringBuilder("\"");
        for (char one : (text == null ? "" : text).toCharArray()) {
            if (one == '"' || one == '\\') {
                out.append('\\').append(one);
            } else if (one < ' ') {
                out.append(String.format("\\u%04x", (int) one));
            } else {
                out.append(one);
            }
        }
        return out.append('"').toString();
    }
}
