/** The program that the real Java agent watches: it only has to live for some seconds. */
public final class Waiting {
    private Waiting() {
    }

    public static void main(String[] arguments) throws InterruptedException {
        Thread.sleep(1000L * Long.parseLong(arguments[0]));
    }
}
