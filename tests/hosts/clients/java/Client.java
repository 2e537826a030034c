import io.grpc.CallOptions;
import io.grpc.ClientCall;
import io.grpc.ManagedChannel;
import io.grpc.Metadata;
import io.grpc.MethodDescriptor;
import io.grpc.Status;
import io.grpc.netty.shaded.io.grpc.netty.GrpcSslContexts;
import io.grpc.netty.shaded.io.grpc.netty.NettyChannelBuilder;
import io.grpc.netty.shaded.io.netty.handler.ssl.SslContextBuilder;
import java.io.ByteArrayInputStream;
import java.io.File;
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
 * Client [-stream] [-timeout 5] [-ca FILE [-certificate FILE -key FILE] [-server-name NAME]]
 *   TARGET /package.Service/Method [KEY=VALUE ...]
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
        long seconds = Long.parseLong(taken(words, "-timeout", "5"));
        String ca = taken(words, "-ca", null);
        String certificate = taken(words, "-certificate", null);
        String key = taken(words, "-key", null);
        String serverName = taken(words, "-server-name", null);
        Metadata metadata = new Metadata();
        for (String pair : words.subList(2, words.size())) {
            String[] parts = pair.split("=", 2);
            metadata.put(Metadata.Key.of(parts[0], Metadata.ASCII_STRING_MARSHALLER), parts[1]);
        }
        NettyChannelBuilder builder = NettyChannelBuilder.forTarget("dns:///" + words.get(0))
            .proxyDetector(address -> null);
        if (ca == null) {
            builder.usePlaintext();
        } else {
            SslContextBuilder trusted = GrpcSslContexts.forClient().trustManager(new File(ca));
            if (certificate != null) {
                trusted.keyManager(new File(certificate), new File(key));
            }
            builder.sslContext(trusted.build());
        }
        if (serverName != null) {
            builder.overrideAuthority(serverName);
        }
        ManagedChannel channel = builder.build();
        Status status = call(channel, words.get(1).substring(1), stream, metadata, seconds);
        channel.shutdownNow();
        System.out.printf("{\"code\": \"%s\", \"number\": %d, \"message\": %s}%n",
            status.getCode(), status.getCode().value(), quoted(message(status)));
        System.exit(0);
    }

    /** Takes an option and its value out of the words. */
    private static String taken(List<String> words, String option, String otherwise) {
        int at = words.indexOf(option);
        if (at < 0) {
            return otherwise;
        }
        String value = words.get(at + 1);
        words.subList(at, at + 2).clear();
        return value;
    }

    /** What a server said, and where none did, why: else all trouble is called "io exception". */
    private static String message(Status status) {
        String said = status.getDescription() == null ? "" : status.getDescription();
        for (Throwable cause = status.getCause(); cause != null; cause = cause.getCause()) {
            said += ": " + cause.getMessage();
        }
        return said;
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
