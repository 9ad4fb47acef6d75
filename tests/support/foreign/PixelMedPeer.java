// PixelMed in both roles: see dcmjs_peer.js for the protocol of stdin and stdout. It has no N-services.
import com.pixelmed.database.DatabaseInformationModel;
import com.pixelmed.database.PatientStudySeriesConcatenationInstanceModel;
import com.pixelmed.dicom.*;
import com.pixelmed.network.*;
import java.io.*;
import java.util.*;
import java.util.concurrent.ConcurrentHashMap;

public class PixelMedPeer {
	static final String WORKLIST = "1.2.840.10008.5.1.4.31";
	static final Map<String, String> held = new ConcurrentHashMap<>();
	static final NetworkApplicationInformation nodes = new NetworkApplicationInformation();
	static DatabaseInformationModel database;
	static File folder;

	static class Keeper extends ReceivedObjectHandler {
		public void sendReceivedObjectIndication(String file, String syntax, String calling)
				throws DicomNetworkException, DicomException, IOException {
			hold(file);
		}
	}

	static synchronized void hold(String file) throws DicomException, IOException {
		AttributeList list = new AttributeList();
		list.read(new File(file));
		held.put(Attribute.getSingleStringValueOrEmptyString(list, TagFromName.SOPInstanceUID), file);
		database.insertObject(list, file, "C");
	}

	static AttributeList keys(String level, String[] words, int from) throws DicomException {
		AttributeList list = new AttributeList();
		if (!level.isEmpty()) put(list, "QueryRetrieveLevel", level);
		for (int i = from; i < words.length; i++) {
			String[] pair = words[i].split("=", 2);
			put(list, pair[0], pair[1]);
		}
		return list;
	}

	static void put(AttributeList list, String name, String value) throws DicomException {
		Attribute made = AttributeFactory.newAttribute(DicomDictionary.StandardDictionary.getTagFromName(name));
		if (!value.isEmpty()) made.addValue(value);
		list.put(made);
	}

	static void find(PrintStream out, String[] words, String model, AttributeList keys, AttributeTag first)
			throws Exception {
		new FindSOPClassSCU("127.0.0.1", Integer.parseInt(words[1]), words[2], "PIXELMED", model, keys,
			new IdentifierHandler() {
				public void doSomethingWithIdentifier(AttributeList found) throws DicomException {
					out.println("ff00\t" + Attribute.getSingleStringValueOrEmptyString(found, first) + "\t"
						+ Attribute.getSingleStringValueOrEmptyString(found, TagFromName.PatientID));
				}
			});
		out.println("0000"); // it throws if the peer failed
	}

	static void store(PrintStream out, String[] words) throws Exception {
		SetOfDicomFiles files = new SetOfDicomFiles();
		for (int i = 3; i < words.length; i++) files.add(new File(words[i]));
		new StorageSOPClassSCU("127.0.0.1", Integer.parseInt(words[1]), words[2], "PIXELMED", files, 0,
			new MultipleInstanceTransferStatusHandlerWithFileName() {
				public void updateStatus(int remaining, int completed, int failed, int warning, String uid,
						String file, boolean success) {
					out.println(success ? "0000" : "failed");
				}
			});
	}

	static void get(PrintStream out, String[] words) throws Exception {
		String[] key = {"StudyInstanceUID=" + words[3]};
		Set<String> wanted = Collections.singleton(SOPClass.CTImageStorage);
		new GetSOPClassSCU("127.0.0.1", Integer.parseInt(words[1]), words[2], "PIXELMED",
			SOPClass.StudyRootQueryRetrieveInformationModelGet, keys("STUDY", key, 0), new IdentifierHandler(), folder,
			StoredFilePathStrategy.BYSOPINSTANCEUIDINSINGLEFOLDER, new Keeper(), wanted, true, false, false);
		out.println("0000");
	}

	static void work(PrintStream out, String[] words) throws Exception {
		switch (words[0]) {
			case "node":
				nodes.add(words[1], words[1], "127.0.0.1", Integer.parseInt(words[2]), null, null);
				break;
			case "hold":
				hold(words[1]);
				break;
			case "kept":
				held.forEach((uid, file) -> out.println(uid + "\t" + file));
				break;
			case "echo":
				new VerificationSOPClassSCU("127.0.0.1", Integer.parseInt(words[1]), words[2], "PIXELMED", false);
				out.println("0000");
				break;
			case "store":
				store(out, words);
				break;
			case "find":
				find(out, words, SOPClass.StudyRootQueryRetrieveInformationModelFind, keys("STUDY", words, 3),
					TagFromName.StudyInstanceUID);
				break;
			case "worklist":
				String[] step = {"ScheduledStationAETitle=" + words[3]};
				AttributeList asked = keys("", new String[] {"PatientID=", "AccessionNumber="}, 0);
				SequenceAttribute steps = new SequenceAttribute(new AttributeTag(0x0040, 0x0100));
				steps.addItem(keys("", step, 0));
				asked.put(steps);
				find(out, words, WORKLIST, asked, TagFromName.AccessionNumber);
				break;
			case "move":
				MoveSOPClassSCU done = new MoveSOPClassSCU("127.0.0.1", Integer.parseInt(words[1]), words[2], "PIXELMED",
					words[3], SOPClass.StudyRootQueryRetrieveInformationModelMove,
					keys("STUDY", new String[] {"StudyInstanceUID=" + words[4]}, 0));
				out.println(String.format("%04x", done.getStatus()));
				break;
			case "get":
				get(out, words);
				break;
			default:
				throw new IllegalArgumentException(words[0]);
		}
	}

	public static void main(String[] arguments) throws Exception {
		PrintStream out = System.out;
		System.setOut(System.err); // some of its classes print
		folder = new File(arguments[1]);
		database = new PatientStudySeriesConcatenationInstanceModel("mem:peer", null, "Peer");
		new Thread(new StorageSOPClassSCPDispatcher(Integer.parseInt(arguments[0]), "PIXELMED", folder,
			StoredFilePathStrategy.BYSOPINSTANCEUIDINSINGLEFOLDER, new Keeper(),
			database.getQueryResponseGeneratorFactory(), database.getRetrieveResponseGeneratorFactory(), nodes,
			new UnencapsulatedExplicitStoreFindMoveGetPresentationContextSelectionPolicy(), false)).start();
		BufferedReader in = new BufferedReader(new InputStreamReader(System.in));
		for (String line = in.readLine(); line != null; line = in.readLine()) {
			try {
				work(out, line.split("\t", -1));
			} catch (Exception error) {
				out.println("error\t" + error);
				error.printStackTrace();
			}
			out.println(".");
			out.flush();
		}
		System.exit(0);
	}
}
